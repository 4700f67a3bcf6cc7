/** Where the person goes: the controls of the form, and the `layout` they stand for. */

/** Nothing is moved until this is asked for; several copies stand around the middle. */
const MIDDLE = 50;

/** Reads the form into plain values: places in percent of the picture, size of the person's own. */
export function readPlacement(fields) {
  return {
    moved: fields.move.checked,
    across: Number(fields.across.value),
    down: Number(fields.down.value),
    size: Number(fields.size.value),
    copies: Number(fields.copies.value),
    apart: Number(fields.apart.value),
    mirrored: fields.mirrored.checked,
  };
}

/**
 * As service/silhouette_seg/vision/compose/layout.py reads it: a copy's foot, its scale, its mirror; `;` between copies.
 * @returns {string | null} null leaves the person where they are
 */
export function layoutOf({ moved, across, down, size, copies, apart, mirrored }) {
  const middle = moved ? across : MIDDLE;
  const common = [
    ...(moved ? [`y:${share(down)}`] : []),
    ...(size === 100 ? [] : [`scale:${share(size)}`]),
    ...(mirrored ? ["flip:true"] : []),
  ];
  if (copies === 1) return [...(moved ? [`x:${share(middle)}`] : []), ...common].join(",") || null;
  return Array.from({ length: copies }, (_, place) => {
    const x = middle + (place - (copies - 1) / 2) * apart;
    return [`x:${share(x)}`, ...common].join(",");
  }).join(";");
}

/** What a folded form says of it. */
export function placementWords({ moved, size, copies, mirrored }) {
  const words = [
    copies > 1 && `${copies} copies`, moved && "moved", size !== 100 && `${size}\u00a0%`, mirrored && "mirrored",
  ];
  return words.filter(Boolean).join(", ") || "As in the photo";
}

/** So that moving begins where the person stands: the middle of the lower edge of their box. */
export function startWhereTheyStand(fields, headers, photo) {
  const [top, left, height, width] = ["Top", "Left", "Height", "Width"].map((side) => Number(headers.get(`X-Foreground-${side}`)));
  if (!width || !photo.width) return;
  fields.across.value = String(Math.round((100 * (left + width / 2)) / photo.width));
  fields.down.value = String(Math.round((100 * (top + height)) / photo.height));
}

/** 62.5 % -> 0.625 */
function share(percent) {
  return Number((percent / 100).toFixed(4));
}
