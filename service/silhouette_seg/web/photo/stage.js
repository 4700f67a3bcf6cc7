/** The part of the page that shows a photo and its result, one over the other. */

import { compareSlider } from "./compare-slider.js";
import { zoomView } from "./zoom-view.js";

/**
 * Manages the two images of the frame: their object URLs, sizes and positions.
 *
 * @typedef {{width: number, height: number}} Size
 * @typedef {{left: number, top: number, width: number, height: number}} Region
 */
export function photoStage({ frame, before, after, tag, slider, zoom }) {
  const compare = compareSlider(frame, slider);
  const showDragMode = () => {
    if (frame.classList.contains("zoomed")) frame.dataset.drag = "pan";
    else frame.dataset.drag = isPlacing ? "place" : "compare";
  };
  const view = zoomView({ frame, picture: after, button: zoom }, showDragMode);
  let isFirstResult = true; // of this photo
  let isPlacing = false;
  let loadingPhoto = Promise.resolve(false);

  const showWholePhoto = () => {
    frame.dataset.shows = "photo";
    setAspectRatio(frame, before);
    fitRegion(before, { left: 0, top: 0, ...sizeOf(before) });
  };

  return {
    /**
     * Shows a new photo without a result, unless `isStale()` returns true once it is decoded.
     * @returns {Promise<boolean>} true if the browser can show it
     */
    showPhoto(file, isStale) {
      isFirstResult = true;
      view.reset();
      release(after);
      release(before);
      frame.dataset.shows = "photo";
      loadingPhoto = load(before, file, isStale).then((shown) => { if (shown) showWholePhoto(); return shown; });
      return loadingPhoto;
    },

    /** Chooses whether a drag of the frame places the person, or compares. */
    setPlacing(placing) {
      isPlacing = placing;
      showDragMode();
    },

    /** Removes the result and shows the photo alone. */
    clearResult() {
      isFirstResult = true;
      view.reset();
      release(after);
      if (before.src) showWholePhoto();
    },

    /**
     * Shows a result image over the region of the photo that `regionOf` returns for it.
     * @param {(photo: Size, result: Size) => Region | null} regionOf
     * @returns {Promise<{width: number, height: number, url: string, photo: Size} | null>} null if not shown
     */
    async showResult(blob, { label, alt, regionOf, isStale }) {
      await loadingPhoto; // its size is needed
      if (!(await load(after, blob, isStale))) return null;
      tag.textContent = label;
      after.alt = alt;
      setAspectRatio(frame, after);
      const region = regionOf(sizeOf(before), sizeOf(after));
      if (region) fitRegion(before, region);
      frame.dataset.shows = region ? "both" : "result";
      slider.disabled = region === null;
      view.update();
      if (isFirstResult && region) compare.reveal();
      isFirstResult = false;
      return { ...sizeOf(after), url: after.src, photo: sizeOf(before) };
    },
  };
}

/** Scales and moves an image so that `region` fills the frame. */
function fitRegion(image, region) {
  const { width, height } = sizeOf(image);
  const style = {
    left: -region.left / region.width, top: -region.top / region.height,
    width: width / region.width, height: height / region.height,
  };
  for (const [property, share] of Object.entries(style)) image.style[property] = `${100 * share}%`;
}

/**
 * Shows an image file in the element `image`. It is decoded off-screen first, so that the previous
 * image stays until the new one can be painted.
 */
async function load(image, blob, isStale) {
  const url = URL.createObjectURL(blob);
  const probe = new Image();
  probe.src = url;
  const readable = await probe.decode().then(() => true, () => false);
  if (!readable || isStale()) {
    URL.revokeObjectURL(url);
    return false;
  }
  release(image);
  image.src = url;
  return image.decode().then(() => true, () => false);
}

function release(image) {
  if (image.src) URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
}

function setAspectRatio(frame, image) {
  frame.style.setProperty("--ratio", String(image.naturalWidth / image.naturalHeight));
}

/** @returns {Size} size of an image in pixels of its file, after its EXIF orientation is applied */
function sizeOf(image) {
  return { width: image.naturalWidth, height: image.naturalHeight };
}
