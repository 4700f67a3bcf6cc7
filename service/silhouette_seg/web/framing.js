/**
 * Which part of the photo a result shows, so that both can be laid over each other.
 *
 * @param {Headers} headers of the answer: the person's box in pixels of the photo
 * @param {{width: number, height: number}} photo
 * @param {{width: number, height: number}} result
 * @param {number} margin  percent of the box, as it was asked for
 * @returns {{left: number, top: number, width: number, height: number} | null} null: it cannot be told
 */
export function shownPart(headers, photo, result, margin) {
  if (photo.width === result.width && photo.height === result.height) {
    return { left: 0, top: 0, width: photo.width, height: photo.height };
  }
  const [left, width] = stretched(headers, "Left", "Width", margin, photo.width);
  const [top, height] = stretched(headers, "Top", "Height", margin, photo.height);
  // The server rounds margins its own way: one pixel on each side is no difference to see.
  const agrees = Math.abs(width - result.width) <= 2 && Math.abs(height - result.height) <= 2;
  return agrees ? { left, top, width: result.width, height: result.height } : null;
}

function stretched(headers, startName, lengthName, margin, end) {
  const start = Number(headers.get(`X-Foreground-${startName}`));
  const length = Number(headers.get(`X-Foreground-${lengthName}`));
  const extra = Math.round((length * margin) / 100);
  const from = Math.max(0, start - extra);
  return [from, Math.min(end, start + length + extra) - from];
}
