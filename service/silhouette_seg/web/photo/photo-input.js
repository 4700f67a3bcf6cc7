/**
 * Calls `onPhoto` with each photo file that is chosen with `input`, dropped on the page, or pasted.
 */
export function watchPhotoInputs({ input, page }, onPhoto) {
  input.addEventListener("change", () => {
    if (input.files[0]) onPhoto(input.files[0]);
    input.value = ""; // choosing the same file again has to fire "change"
  });

  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) { event.preventDefault(); onPhoto(file); }
  });

  // dragenter and dragleave fire for every element that is crossed; the depth reaches 0 at the end.
  let depth = 0;
  const setDepth = (value) => { depth = Math.max(0, value); page.classList.toggle("dropping", depth > 0); };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) setDepth(depth + 1); });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event)) setDepth(depth - 1); });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setDepth(0);
    if (event.dataTransfer.files[0]) onPhoto(event.dataTransfer.files[0]);
  });
}
