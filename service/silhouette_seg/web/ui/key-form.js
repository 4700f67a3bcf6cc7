/**
 * The form for the API key. It is shown when the server requires a key. The key stays in the memory
 * of this browser tab only.
 *
 * @typedef {object} ApiKey
 * @property {string} value  the key, or an empty string
 * @property {() => void} prompt  shows the form
 * @property {(listener: () => void) => void} onSubmit  calls `listener` after each submitted key
 *
 * @returns {ApiKey}
 */
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
    prompt() {
      if (key) hint.textContent = "That key was not accepted.";
      form.hidden = false;
      input.select();
    },
    onSubmit(listener) { listeners.push(listener); },
  };
}
