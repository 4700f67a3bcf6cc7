/** Geometry of results that are cropped to the person. */

/**
 * Largest difference in pixels between the expected and the real size of a result. The service
 * rounds margins in its own way, and one pixel per side is invisible.
 */
const TOLERANCE_PX = 2;

/**
 * Computes the region of the photo that a result shows, so that both can be overlaid.
 *
 * @param {Headers} headers  of the response; they hold the person's box in pixels of the photo
 * @param {{width: number, height: number}} photo
 * @param {{width: number, height: number}} result
 * @param {number} margin  requested margin in percent of the box
 * @returns {{left: number, top: number, width: number, height: number} | null} null if unknown
 */
export function visibleRegion(headers, photo, result, margin) {
  if (photo.width === result.width && photo.height === result.height) {
    return { left: 0, top: 0, width: photo.width, height: photo.height };
  }
  const [left, width] = expandedSide(headers, "Left", "Width", margin, photo.width);
  const [top, height] = expandedSide(headers, "Top", "Height", margin, photo.height);
  const agrees = Math.abs(width - result.width) <= TOLERANCE_PX && Math.abs(height - result.height) <= TOLERANCE_PX;
  return agrees ? { left, top, width: result.width, height: result.height } : null;
}

/** @returns {[number, number]} start and length of one side of the box with its margin */
function expandedSide(headers, startName, lengthName, margin, photoLength) {
  const start = Number(headers.get(`X-Foreground-${startName}`));
  const length = Number(headers.get(`X-Foreground-${lengthName}`));
  const extra = Math.round((length * margin) / 100);
  const from = Math.max(0, start - extra);
  return [from, Math.min(photoLength, start + length + extra) - from];
}
