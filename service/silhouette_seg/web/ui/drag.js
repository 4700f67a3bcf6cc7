/**
 * Calls `onMove` for drags that start on `element` with the main button, a finger or a pen.
 *
 * @param {HTMLElement} element
 * @param {object} listener
 * @param {(event: PointerEvent) => boolean} listener.accepts  decides when a drag starts
 * @param {(event: PointerEvent, moved: {x: number, y: number}) => void} listener.onMove  `moved` is
 *   the distance since the last call in pixels; it is 0 for the start of the drag
 * @param {() => void} [listener.onEnd]
 */
export function watchDrag(element, { accepts, onMove, onEnd = () => {} }) {
  let last = null;
  const move = (event) => {
    const moved = { x: event.clientX - last.x, y: event.clientY - last.y };
    last = { x: event.clientX, y: event.clientY };
    onMove(event, moved);
  };
  const end = () => {
    if (last) onEnd();
    last = null;
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !accepts(event)) return;
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    last = { x: event.clientX, y: event.clientY };
    move(event);
  });
  element.addEventListener("pointermove", (event) => { if (last) move(event); });
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}
