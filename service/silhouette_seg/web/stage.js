import { compareSlider } from "./slider.js";

/** The photo and its result: object URLs, sizes, and the frame that shows them. */
export function photoStage({ frame, before, after, tag, slider }) {
  const compare = compareSlider(frame, slider);
  let fresh = true; // no result of this photo was shown yet
  let arriving = Promise.resolve(false);

  const showWhole = () => {
    frame.dataset.shows = "photo";
    fitTo(frame, before);
    layOver(before, { left: 0, top: 0, ...sizeOf(before) });
  };

  return {
    /**
     * Shows a new photo alone, unless it is `stale` by the time it is decoded.
     * @returns {Promise<boolean>} whether the browser can show it
     */
    showPhoto(file, stale) {
      fresh = true;
      forget(after);
      forget(before);
      frame.dataset.shows = "photo";
      arriving = load(before, file, stale).then((shown) => { if (shown) showWhole(); return shown; });
      return arriving;
    },

    /** Takes the result away; the photo stays. */
    clearResult() {
      fresh = true;
      forget(after);
      if (before.src) showWhole();
    },

    /**
     * Shows a result, laid over the part of the photo it shows where that is known.
     * @param {(photo: Size, result: Size) => object | null} partOf
     * @returns {Promise<{width: number, height: number, url: string, photo: Size} | null>} null: not shown
     */
    async showResult(blob, { label, alt, partOf, stale }) {
      await arriving; // its size is needed
      if (!(await load(after, blob, stale))) return null;
      tag.textContent = label;
      after.alt = alt;
      fitTo(frame, after);
      const part = partOf(sizeOf(before), sizeOf(after));
      if (part) layOver(before, part);
      frame.dataset.shows = part ? "both" : "result";
      slider.disabled = part === null;
      if (fresh && part) compare.reveal();
      fresh = false;
      return { ...sizeOf(after), url: after.src, photo: sizeOf(before) };
    },
  };
}

/** Moves and scales the photo so that its `part` fills the frame. */
function layOver(image, part) {
  const photo = sizeOf(image);
  const place = {
    left: -part.left / part.width, top: -part.top / part.height,
    width: photo.width / part.width, height: photo.height / part.height,
  };
  for (const [side, share] of Object.entries(place)) image.style[side] = `${100 * share}%`;
}

/** Decodes off the page first, so that the old picture stays until the new one can be painted. */
async function load(image, blob, stale) {
  const url = URL.createObjectURL(blob);
  const probe = new Image();
  probe.src = url;
  const readable = await probe.decode().then(() => true, () => false);
  if (!readable || stale()) {
    URL.revokeObjectURL(url);
    return false;
  }
  forget(image);
  image.src = url;
  return image.decode().then(() => true, () => false);
}

function forget(image) {
  if (image.src) URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
}

function fitTo(frame, image) {
  frame.style.setProperty("--ratio", String(image.naturalWidth / image.naturalHeight));
}

/** @returns {{width: number, height: number}} in pixels of the file, upright */
function sizeOf(image) {
  return { width: image.naturalWidth, height: image.naturalHeight };
}
