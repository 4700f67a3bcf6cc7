/**
 * Before and after in one frame. A native range input carries keyboard and screen-reader
 * behaviour; the whole frame is the drag target. The share of the photo shown is `--cut`.
 */
export function compareSlider(frame, input) {
  const apply = () => {
    frame.style.setProperty("--cut", `${input.value}%`);
    input.setAttribute("aria-valuetext", `${Math.round(input.value)} % photo`);
  };
  const follow = (event) => {
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
    follow(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });
  apply();

  return {
    /** From the whole photo to the middle, so that the first result is seen to appear. */
    reveal() {
      frame.classList.remove("sweeping");
      input.value = "100";
      apply();
      void frame.offsetWidth; // the start of a transition has to be laid out
      frame.classList.add("sweeping");
      input.value = "50";
      apply();
    },
  };
}
