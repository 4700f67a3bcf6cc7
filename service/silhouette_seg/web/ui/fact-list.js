/** Definition lists of labels and values, and the format of percentages. */

/**
 * Replaces the rows of a definition list.
 *
 * @param {HTMLDListElement} list
 * @param {[string, string, string?][]} rows  label, value, and an optional tooltip
 */
export function showFacts(list, rows) {
  list.replaceChildren(...rows.map(([label, value, tooltip]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = label;
    description.textContent = value;
    if (tooltip) row.title = tooltip;
    row.append(term, description);
    return row;
  }));
}

/** Formats a share 0..1 as a percentage: 0.123 -> `12 %`. Values below 10 % have one decimal. */
export function percent(share) {
  const value = 100 * share;
  return `${value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)}\u00a0%`;
}
