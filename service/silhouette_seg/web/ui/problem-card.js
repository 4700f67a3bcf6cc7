import { Problem } from "../api/problem.js";

/**
 * The card in which a tab shows an error. The arguments are its elements; the button `retry` is
 * visible for errors that a repetition may solve.
 */
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

/** @returns {Problem} the error itself, or a problem that wraps an unexpected error of this page */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  return new Problem({ title: "Something went wrong on this page", detail: String(error) });
}
