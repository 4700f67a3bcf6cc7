import { compareSlider } from "./slider.js";

/** The photo and its result: object URLs, sizes, and the frame that shows them. */
export function photoStage({ frame, before, after, tag, slider }) {
  const compare = compareSlider(frame, slider);
  let fresh = true;

  return {
    /** Shows the photo alone. @returns {Promise<boolean>} whether the browser can show it */
    async showPhoto(file) {
      fresh = true;
      forget(after);
      forget(before);
      frame.classList.remove("compared");
      const shown = await load(before, file);
      if (shown) fitTo(frame, before);
      return shown;
    },

    /**
     * Shows a result, beside the photo when both have the same shape.
     * @returns {Promise<{width: number, height: number, url: string} | null>} null: not shown
     */
    async showResult(blob, { label, alt, signal }) {
      if (!(await load(after, blob, signal))) return null;
      tag.textContent = label;
      after.alt = alt;
      fitTo(frame, after);
      const compared = sameShape(before, after);
      frame.classList.toggle("compared", compared);
      slider.disabled = !compared;
      if (fresh && compared) compare.reveal();
      fresh = false;
      return { width: after.naturalWidth, height: after.naturalHeight, url: after.src };
    },
  };
}

/** Decodes off the page first, so that the old picture stays until the new one can be painted. */
async function load(image, blob, signal) {
  const url = URL.createObjectURL(blob);
  const probe = new Image();
  probe.src = url;
  const readable = await probe.decode().then(() => true, () => false);
  if (!readable || signal?.aborted) {
    URL.revokeObjectURL(url);
    return false;
  }
  forget(image);
  image.src = url;
  await image.decode();
  return true;
}

function forget(image) {
  if (image.src) URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
}

function fitTo(frame, image) {
  frame.style.setProperty("--ratio", String(image.naturalWidth / image.naturalHeight));
}

/** A cropped result cannot be laid over its photo. */
function sameShape(one, other) {
  return one.naturalWidth === other.naturalWidth && one.naturalHeight === other.naturalHeight;
}
