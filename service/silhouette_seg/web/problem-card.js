import { Problem } from "./problem.js";

/** Where a tab says what went wrong; `retry` is a button for what may go better next time. */
export function problemCard({ card, title, detail, meta, retry }) {
  return {
    show(problem) {
      title.textContent = problem.title;
      detail.textContent = problem.detail;
      meta.textContent = problem.reference;
      retry.hidden = !problem.retryable;
      card.hidden = false;
      card.scrollIntoView({ block: "nearest" });
    },
    hide() { card.hidden = true; },
  };
}

/** @returns {Problem} the error itself, or one that says that this page is at fault */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  return new Problem({ title: "Something went wrong on this page", detail: String(error) });
}
