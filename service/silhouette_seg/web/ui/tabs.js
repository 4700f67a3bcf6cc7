/**
 * Tabs as WAI-ARIA describes them: arrow keys move between the tabs, and only the selected tab is in
 * the tab order. The fragment of the URL names the selected tab.
 *
 * @param {HTMLElement} list  contains the buttons, each with aria-controls
 * @param {(name: string) => void} onSelect  gets the id of the panel without "-view"
 * @returns {{select: (name: string) => void}}
 */
export function tabList(list, onSelect) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const nameOf = (tab) => tab.getAttribute("aria-controls").replace(/-view$/, "");
  const show = (name) => {
    for (const tab of tabs) {
      const selected = nameOf(tab) === name;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !selected;
    }
    onSelect(name);
  };
  const select = (tab) => {
    history.replaceState(null, "", `#${nameOf(tab)}`);
    show(nameOf(tab));
  };

  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const index = tabs.indexOf(event.target);
    const next = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = tabs.at(next % tabs.length);
    tab.focus();
    select(tab);
  });
  const fromFragment = () => tabs.find((tab) => `#${nameOf(tab)}` === location.hash);
  addEventListener("hashchange", () => { if (fromFragment()) show(nameOf(fromFragment())); });
  show(nameOf(fromFragment() ?? tabs[0]));
  return { select: (name) => select(tabs.find((tab) => nameOf(tab) === name)) };
}
