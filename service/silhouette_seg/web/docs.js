// API reference with Swagger UI. The validator is disabled: it would send the schema to another host.

import { linksAsText, mendAccessibility } from "./docs-accessibility.js";

/**
 * A plugin that leaves the fields of a form empty if they have no default. Swagger UI invents a
 * value for each and sends it: text that matches a pattern, or the first value of a list. Files and
 * lists of files stay as they are.
 */
const emptyFields = () => ({
  afterLoad(system) {
    const { getSampleSchema } = system.fn;
    system.fn.getSampleSchema = (schema, mediaType, ...rest) => {
      const field = schema?.toJS?.() ?? schema;
      // A field of a form is the only schema without a media type.
      if (mediaType === false && field.type !== "array") return field.default ?? "";
      return getSampleSchema(schema, mediaType, ...rest);
    };
  },
});

/** Follows the colour scheme of the system, which Swagger UI's style sheet knows as a class. */
function followColourScheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", apply);
  apply();
}

followColourScheme();
window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  syntaxHighlight: { theme: "tomorrow-night" }, // the default has numbers of little contrast
  plugins: [emptyFields, linksAsText],
});
mendAccessibility(document.getElementById("swagger-ui"));
