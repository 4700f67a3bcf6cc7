/** Every way a photo gets onto the page: chosen, dropped anywhere, pasted. */
export function watchPhotos({ input, page }, chosen) {
  input.addEventListener("change", () => {
    if (input.files[0]) chosen(input.files[0]);
    input.value = ""; // so that choosing the same file again is a change
  });

  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) { event.preventDefault(); chosen(file); }
  });

  // dragenter and dragleave fire for every element crossed; the count says when it is over.
  let depth = 0;
  const mark = (value) => { depth = Math.max(0, value); page.classList.toggle("dropping", depth > 0); };
  const withFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (withFiles(event)) mark(depth + 1); });
  document.addEventListener("dragleave", (event) => { if (withFiles(event)) mark(depth - 1); });
  document.addEventListener("dragover", (event) => { if (withFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    mark(0);
    if (event.dataTransfer.files[0]) chosen(event.dataTransfer.files[0]);
  });
}
