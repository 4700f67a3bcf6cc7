/** The card with the curl command of the request. */

import { SEGMENT_PATH } from "../api/client.js";
import { curlCommand } from "../api/curl.js";
import { resultName } from "./file-name.js";
import { isComplete, requestParameters } from "./photo-options.js";

const COPIED_MS = 1600;

/** @param {{code: HTMLElement, copy: HTMLButtonElement}} elements */
export function curlCard({ code, copy }) {
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch {
      // No clipboard without a secure context: select the text, so that Ctrl+C copies it.
      getSelection().selectAllChildren(code);
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, COPIED_MS);
  });

  return {
    /** Shows the command for a photo and the options of the form. */
    show(photoName, options, withKey) {
      const placeholder = { ...options, backgroundImage: new File([], "background.jpg") };
      code.textContent = curlCommand({
        url: new URL(SEGMENT_PATH, document.baseURI).href,
        photoName,
        parameters: requestParameters(isComplete(options) ? options : placeholder),
        resultName: resultName(photoName, options),
        withKey,
      });
    },
  };
}
