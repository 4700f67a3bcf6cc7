/** Mends what Swagger UI lacks for screen readers and keyboards. Axe reports these faults. */

/** Levels by which the headings below the title are too deep: Swagger UI begins with `h3`. */
const HEADING_SHIFT = 1;

/**
 * A plugin that shows paths and tags as text instead of links. Each lies in a button that opens the
 * same place, and a button must not contain a link.
 */
export const linksAsText = () => ({
  wrapComponents: {
    DeepLink: (_, { React }) => ({ text }) => React.createElement("span", null, text),
  },
});

/** Mends the elements of Swagger UI below `root`, now and whenever it renders others. */
export function mendAccessibility(root) {
  const mend = () => {
    for (const heading of root.querySelectorAll("h3, h4, h5, h6")) setHeadingLevel(heading);
    for (const control of root.querySelectorAll("select, input, textarea")) setName(control);
    for (const button of root.querySelectorAll(".close-modal")) setAttribute(button, "aria-label", "Close");
    for (const button of root.querySelectorAll(".copy-to-clipboard button")) setAttribute(button, "aria-label", "Copy");
    // As landmarks they would need a name each.
    for (const table of root.querySelectorAll(".responses-table[role=region]")) table.role = "table";
    for (const region of root.querySelectorAll("pre, .highlight-code, .microlight")) setFocusable(region);
  };
  let frame = 0; // one call for all changes of a frame, because sizes are read
  const schedule = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(mend);
  };
  new MutationObserver(schedule).observe(root, { childList: true, subtree: true });
  schedule();
}

function setHeadingLevel(heading) {
  setAttribute(heading, "role", "heading");
  setAttribute(heading, "aria-level", String(Number(heading.tagName.slice(1)) - HEADING_SHIFT));
}

/** Names a control without a label after its parameter, or after its kind. */
function setName(control) {
  if (control.labels?.length || control.getAttribute("aria-label")) return;
  const { paramName, propertyName } = control.closest("tr")?.dataset ?? {};
  const kind = { TEXTAREA: "Request body", SELECT: "Example" }[control.tagName] ?? "Value";
  setAttribute(control, "aria-label", paramName ?? propertyName ?? kind);
}

/** Lets the keyboard scroll an element that is larger than its frame. */
function setFocusable(region) {
  if (region.scrollWidth > region.clientWidth || region.scrollHeight > region.clientHeight) setAttribute(region, "tabindex", "0");
}

/** Sets an attribute if it differs. */
function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
