/**
 * Keeps the values of a form in the session storage of this tab, so that they survive a reload. Files
 * are left out. Call it before anything reads the form.
 */
export function rememberForm(form) {
  const storageKey = `form ${form.id}`;
  restore(form, readStorage(storageKey));
  addEventListener("pagehide", () => writeStorage(storageKey, valuesOf(form)));
}

function valuesOf(form) {
  return Object.fromEntries(fieldsOf(form).map((field) => [nameOf(field), field[propertyOf(field)]]));
}

function restore(form, values) {
  for (const field of fieldsOf(form)) {
    const value = values[nameOf(field)];
    if (value === undefined) continue;
    // The list of models arrives later.
    if (field.type === "select-one" && !field.querySelector(`[value="${CSS.escape(value)}"]`)) field.add(new Option(value, value));
    field[propertyOf(field)] = value;
  }
}

function fieldsOf(form) {
  return [...form.elements].filter(({ name, type }) => name && type !== "file");
}

function nameOf({ type, name, value }) {
  return type === "radio" ? `${name}=${value}` : name;
}

function propertyOf({ type }) {
  return type === "radio" || type === "checkbox" ? "checked" : "value";
}

function readStorage(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? {};
  } catch {
    return {}; // storage is blocked: the page starts with its defaults
  }
}

function writeStorage(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Storage is blocked or full: a reload starts with the defaults.
  }
}
