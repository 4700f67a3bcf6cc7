import { watchDrag } from "../ui/drag.js";

/**
 * Slider that compares a photo with its result: left of it the photo is visible, right of it the
 * result. A native range input provides keyboard and screen reader support. The whole frame can be
 * dragged, or the grip alone while a drag of the frame has another effect (`data-drag`). The CSS
 * variable `--cut` is the visible share of the photo.
 */
export function compareSlider(frame, input) {
  const apply = () => {
    frame.style.setProperty("--cut", `${input.value}%`);
    input.setAttribute("aria-valuetext", `${Math.round(input.value)} % photo`);
  };
  const followPointer = (event) => {
    const box = frame.getBoundingClientRect();
    input.value = String((100 * (event.clientX - box.left)) / box.width);
    apply();
  };

  input.addEventListener("input", () => { frame.classList.remove("sweeping"); apply(); });
  watchDrag(frame, {
    accepts: ({ target }) => frame.dataset.drag === "compare" || target.closest(".grip") !== null,
    onMove: (event) => {
      input.focus({ preventScroll: true, focusVisible: false });
      frame.classList.remove("sweeping");
      followPointer(event);
    },
  });
  apply();

  return {
    /** Animates from the whole photo to the middle, to reveal the first result. */
    reveal() {
      frame.classList.remove("sweeping");
      input.value = "100";
      apply();
      void frame.offsetWidth; // forces layout: a transition needs its start value
      frame.classList.add("sweeping");
      input.value = "50";
      apply();
    },
  };
}
