/**
 * Slider that compares a photo with its result: left of it the photo is visible, right of it the
 * result. A native range input provides keyboard and screen reader support; the whole frame can be
 * dragged. The CSS variable `--cut` is the visible share of the photo.
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
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    input.focus({ preventScroll: true, focusVisible: false });
    frame.classList.remove("sweeping");
    frame.setPointerCapture(event.pointerId);
    followPointer(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) followPointer(event);
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
