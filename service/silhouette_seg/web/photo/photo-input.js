/** Files that are chosen, dropped or pasted. */

import { Problem } from "../api/problem.js";

/** Photos of one batch. The page keeps their results in memory. */
const MAX_PHOTOS = 50;
const VIDEO_NAME = /\.(mp4|m4v|mov|mkv|webm|avi|mts|m2ts|mpe?g|wmv|3gp)$/i;

/**
 * Calls `onFiles` with the files that are chosen with `input`, dropped on the page, or pasted.
 *
 * @param {(files: File[]) => void} onFiles  gets at least one file
 */
export function watchPhotoInputs({ input, page }, onFiles) {
  const pass = (files) => { if (files?.length) onFiles([...files]); };
  input.addEventListener("change", () => {
    pass(input.files);
    input.value = ""; // choosing the same file again has to fire "change"
  });

  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (files?.length) { event.preventDefault(); pass(files); }
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
    pass(event.dataTransfer.files);
  });
}

/**
 * Separates the photos from the videos, which this page does not process.
 *
 * @param {File[]} files
 * @returns {{photos: File[], problem: Problem | null}} the problem with the files that are left out
 */
export function selectPhotos(files) {
  const photos = files.filter((file) => !isVideo(file));
  if (photos.length > MAX_PHOTOS) return { photos: [], problem: tooManyPhotos(photos.length) };
  const videos = files.length - photos.length;
  return { photos, problem: videos ? videosLeftOut(videos) : null };
}

function isVideo({ type, name }) {
  return type.startsWith("video/") || VIDEO_NAME.test(name);
}

function videosLeftOut(count) {
  return new Problem({
    title: count === 1 ? "A video cannot be processed here" : `${count} videos cannot be processed here`,
    detail: "The command line processes videos: silhouette segment clip.mp4 -o clip.mov. "
      + "The tab Live takes the video of your camera.",
  });
}

function tooManyPhotos(count) {
  return new Problem({
    title: "Too many photos at once",
    detail: "The command line processes whole folders: silhouette segment photos/ -o results/.",
    limit: MAX_PHOTOS, actual: count,
  });
}
