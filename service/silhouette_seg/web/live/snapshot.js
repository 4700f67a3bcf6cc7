/**
 * Returns the picture that a stream shows as a PNG file.
 *
 * @param {HTMLCanvasElement | HTMLVideoElement} view
 * @param {boolean} mirrored  exchanges left and right
 * @returns {Promise<Blob>}
 */
export function snapshot(view, mirrored) {
  const canvas = document.createElement("canvas");
  canvas.width = view.videoWidth ?? view.width;
  canvas.height = view.videoHeight ?? view.height;
  const context = canvas.getContext("2d");
  if (mirrored) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
  context.drawImage(view, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
