// API reference with Swagger UI. The validator is disabled: it would send the schema to another host.

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
