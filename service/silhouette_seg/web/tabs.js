/**
 * Tabs as WAI-ARIA describes them: arrows move between them, and one is in the tab order.
 * The address remembers which is shown.
 *
 * @param {HTMLElement} list  of buttons, each with aria-controls
 * @param {(name: string) => void} shown  the id of the panel, without "-view"
 */
export function watchTabs(list, shown) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const nameOf = (tab) => tab.getAttribute("aria-controls").replace(/-view$/, "");
  const show = (name) => {
    for (const tab of tabs) {
      const selected = nameOf(tab) === name;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !selected;
    }
    shown(name);
  };
  const go = (tab) => {
    history.replaceState(null, "", `#${nameOf(tab)}`);
    show(nameOf(tab));
  };

  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) go(tab);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target);
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = tabs.at(next % tabs.length);
    tab.focus();
    go(tab);
  });
  const named = () => tabs.find((tab) => `#${nameOf(tab)}` === location.hash);
  addEventListener("hashchange", () => { if (named()) show(nameOf(named())); });
  show(nameOf(named() ?? tabs[0]));
  return { show: (name) => go(tabs.find((tab) => nameOf(tab) === name)) };
}
