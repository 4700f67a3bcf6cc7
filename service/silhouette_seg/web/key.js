/** The API key: asked for when the server wants one, and kept in this tab's memory alone. */
export function keyForm({ form, input, hint }) {
  const listeners = [];
  let key = "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    key = input.value;
    form.hidden = true;
    for (const listener of listeners) listener();
  });
  return {
    get value() { return key; },
    ask() {
      if (key) hint.textContent = "That key was not accepted.";
      form.hidden = false;
      input.select();
    },
    onOffered(listener) { listeners.push(listener); },
  };
}
