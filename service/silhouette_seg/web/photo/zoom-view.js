/** Enlarges the picture to its own pixels, to judge hair. A drag or an arrow key moves it. */

import { watchDrag } from "../ui/drag.js";

const KEY_STEP_PX = 60;
const KEY_STEPS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * @param {{frame: HTMLElement, picture: HTMLImageElement, button: HTMLButtonElement}} elements
 *   `picture` is the image whose pixels are shown; `button` switches the view
 * @param {() => void} onChange  called after each switch
 */
export function zoomView({ frame, picture, button }, onChange) {
  let zoom = 1; // of the picture that fits the frame
  let pan = { x: 0, y: 0 };

  const isZoomed = () => frame.classList.contains("zoomed");
  const panTo = (x, y) => {
    const clamp = (value, length) => Math.min(0, Math.max(length * (1 - zoom), value));
    pan = { x: clamp(x, frame.clientWidth), y: clamp(y, frame.clientHeight) };
    frame.style.setProperty("--pan-x", `${pan.x}px`);
    frame.style.setProperty("--pan-y", `${pan.y}px`);
  };
  /** Pixels of the picture per pixel of the screen: 1, or 1/2 if the picture fits at that size. */
  const pixelsPerDot = () => (picture.naturalWidth > frame.clientWidth * devicePixelRatio ? 1 : 1 / 2);
  const setZoomed = (zoomed) => {
    frame.classList.toggle("zoomed", zoomed);
    frame.tabIndex = zoomed ? 0 : -1;
    button.setAttribute("aria-pressed", String(zoomed));
    zoom = zoomed ? picture.naturalWidth / pixelsPerDot() / devicePixelRatio / frame.clientWidth : 1;
    frame.style.setProperty("--zoom", String(zoom));
    panTo((frame.clientWidth * (1 - zoom)) / 2, (frame.clientHeight * (1 - zoom)) / 2);
    onChange();
  };

  button.addEventListener("click", () => setZoomed(!isZoomed()));
  addEventListener("resize", () => { if (isZoomed()) setZoomed(true); });
  watchDrag(frame, {
    accepts: ({ target }) => frame.dataset.drag === "pan" && !target.closest(".grip"),
    onMove: (event, moved) => panTo(pan.x + moved.x, pan.y + moved.y),
  });
  frame.addEventListener("keydown", (event) => {
    const step = event.target === frame && isZoomed() && KEY_STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    panTo(pan.x + KEY_STEP_PX * step[0], pan.y + KEY_STEP_PX * step[1]);
  });

  return {
    /** Labels the button for the picture that is shown, which keeps its place on the screen. */
    update() {
      button.textContent = `${100 / pixelsPerDot()}\u00a0%`;
      if (isZoomed()) panTo(pan.x, pan.y);
    },
    /** Shows the whole picture. */
    reset() { if (isZoomed()) setZoomed(false); },
  };
}
