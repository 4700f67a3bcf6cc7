// Parses an AsyncAPI document, prints its errors and warnings, and exits with 1 if it has any.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const WARNING = 1;
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const findings = diagnostics.filter(({ severity }) => severity <= WARNING);
for (const { code, path, message } of findings) console.log(code, path.join("."), message);
process.exit(document && !findings.length ? 0 : 1);
