/** Sample portraits for visitors without a photo at hand. */

import { fetchFile } from "../api/client.js";

/**
 * Calls `onFiles` with the photo of a sample button that is clicked, and `onProblem` if it cannot be
 * loaded.
 *
 * @param {HTMLElement} list  contains the buttons, each with an image
 */
export function watchSamples(list, { onFiles, onProblem }) {
  list.addEventListener("click", async (event) => {
    const image = event.target.closest("button")?.querySelector("img");
    if (!image) return;
    try {
      onFiles([await fetchFile(image.getAttribute("src"))]);
    } catch (error) {
      onProblem(error);
    }
  });
}
