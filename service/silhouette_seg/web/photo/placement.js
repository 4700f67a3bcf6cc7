/** Placement of the person: the controls of the form, and the parameter `layout`. */

/** Centre of a row of copies of the person that was not moved, in percent of the photo's width. */
const CENTRE_PERCENT = 50;

/**
 * Reads the placement of the person from the form. Positions and spacing are in percent of the photo,
 * and the size is in percent of the person's size there.
 */
export function readPlacement(fields) {
  return {
    moved: fields.move.checked,
    left: Number(fields.left.value),
    top: Number(fields.top.value),
    size: Number(fields.size.value),
    copies: Number(fields.copies.value),
    spacing: Number(fields.spacing.value),
    mirrored: fields.mirrored.checked,
  };
}

/**
 * Formats the parameter `layout`: `x`, `y`, `scale` and `flip` per copy, with `;` between copies. The
 * position is that of the middle of the lower edge. See vision/compose/layout.py.
 *
 * @returns {string | null} null leaves the person in place
 */
export function layoutParameter({ moved, left, top, size, copies, spacing, mirrored }) {
  const centre = moved ? left : CENTRE_PERCENT;
  const common = [
    ...(moved ? [`y:${share(top)}`] : []),
    ...(size === 100 ? [] : [`scale:${share(size)}`]),
    ...(mirrored ? ["flip:true"] : []),
  ];
  if (copies === 1) return [...(moved ? [`x:${share(centre)}`] : []), ...common].join(",") || null;
  return Array.from({ length: copies }, (_, index) => {
    const x = centre + (index - (copies - 1) / 2) * spacing;
    return [`x:${share(x)}`, ...common].join(",");
  }).join(";");
}

/** Returns the placement as a short text, such as `2 copies, moved`, for the collapsed form. */
export function placementSummary({ moved, size, copies, mirrored }) {
  const parts = [
    copies > 1 && `${copies} copies`, moved && "moved", size !== 100 && `${size}\u00a0%`, mirrored && "mirrored",
  ];
  return parts.filter(Boolean).join(", ") || "As in the photo";
}

/**
 * Sets the position fields to the middle of the lower edge of the person's box, so that moving starts
 * there. The response headers have the box in pixels of the photo.
 */
export function setPlacementFromBox(fields, headers, photo) {
  const [top, left, height, width] = ["Top", "Left", "Height", "Width"].map((side) => Number(headers.get(`X-Foreground-${side}`)));
  if (!width || !photo.width) return;
  fields.left.value = String(Math.round((100 * (left + width / 2)) / photo.width));
  fields.top.value = String(Math.round((100 * (top + height)) / photo.height));
}

/** Returns the size of the person in the photo, as shares of the photo's sides: 0..1. */
export function personSizeFromBox(headers, photo) {
  return {
    width: Number(headers.get("X-Foreground-Width")) / photo.width,
    height: Number(headers.get("X-Foreground-Height")) / photo.height,
  };
}

/** Converts a percentage to a share: 62.5 -> 0.625. */
function share(percent) {
  return Number((percent / 100).toFixed(4));
}
