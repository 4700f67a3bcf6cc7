/** Moves the person by a drag on the frame, and scales the person by the mouse wheel. */

import { watchDrag } from "../ui/drag.js";

const WHEEL_STEP = 5; // percent of the size

/**
 * Changes the fields `left`, `top` and `size` of the form while a drag of the frame places the person
 * (`data-drag="place"`). An outline follows the pointer, because a new result takes a moment. Each
 * change of a field is an `input` event.
 *
 * @param {{frame: HTMLElement, outline: HTMLElement, form: HTMLFormElement}} elements
 * @param {() => {width: number, height: number}} personSize  size of the person in the photo, as
 *   shares of the photo's sides
 */
export function placementDrag({ frame, outline, form }, personSize) {
  const { left, top, size } = form.elements;
  let anchor = null; // position in percent; the fields round it

  const isPlacing = () => frame.dataset.drag === "place";
  const showOutline = () => {
    const scale = Number(size.value) / 100;
    const width = 100 * scale * personSize().width;
    const height = 100 * scale * personSize().height;
    const box = { left: left.value - width / 2, top: top.value - height, width, height };
    for (const [side, percent] of Object.entries(box)) outline.style[side] = `${percent}%`;
    outline.hidden = false;
  };

  watchDrag(frame, {
    accepts: ({ target }) => isPlacing() && !target.closest(".grip"),
    onMove(event, moved) {
      anchor ??= { left: Number(left.value), top: Number(top.value) };
      anchor.left += (100 * moved.x) / frame.clientWidth;
      anchor.top += (100 * moved.y) / frame.clientHeight;
      setField(left, anchor.left);
      setField(top, anchor.top);
      showOutline();
    },
    onEnd() {
      anchor = null;
      outline.hidden = true;
    },
  });
  frame.addEventListener("wheel", (event) => {
    if (!isPlacing()) return;
    event.preventDefault(); // the page does not scroll
    setField(size, Number(size.value) - WHEEL_STEP * Math.sign(event.deltaY));
  }, { passive: false });
}

function setField(field, value) {
  const before = field.value;
  field.value = String(value);
  if (field.value !== before) field.dispatchEvent(new Event("input", { bubbles: true }));
}
