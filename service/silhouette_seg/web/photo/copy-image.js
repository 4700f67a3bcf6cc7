/** Copies results to the clipboard, where browsers allow it. */

/** True if this browser can copy images. It needs HTTPS or localhost. */
export function canCopyImages() {
  return Boolean(navigator.clipboard?.write && window.ClipboardItem);
}

/** Copies an image as PNG, the only format that all clipboards take. */
export async function copyImage(blob) {
  const png = blob.type === "image/png" ? blob : convertToPng(blob);
  await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
}

async function convertToPng(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
