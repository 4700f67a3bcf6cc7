/** A refusal or failure the user may read, whatever its origin. */
export class Problem extends Error {
  /**
   * @param {{status?: number, code?: string, title: string, detail?: string, requestId?: string,
   *          retryable?: boolean, limit?: number, actual?: number}} fields
   */
  constructor(fields) {
    super(fields.title);
    Object.assign(this, { status: 0, code: "", detail: "", requestId: "", retryable: false }, fields);
  }

  /** One quiet line: what to quote when asking for help. */
  get reference() {
    const limit = this.limit == null ? "" : `limit ${number(this.limit)}${this.actual == null ? "" : `, got ${number(this.actual)}`}`;
    const code = this.status ? `${this.status}${this.code ? ` ${this.code}` : ""}` : "";
    return [limit, code, this.requestId && `request ${this.requestId}`].filter(Boolean).join(" · ");
  }
}

/** Reads application/problem+json; any other body becomes a plain problem with the status. */
export async function problemFrom(response) {
  const requestId = response.headers.get("X-Request-Id") ?? "";
  const body = await response.json().catch(() => null);
  if (body === null || typeof body.title !== "string") {
    const title = `The server answered ${response.status} ${response.statusText}`.trim();
    return new Problem({ status: response.status, title, requestId, retryable: response.status >= 500 });
  }
  const { code, title, detail, retryable, limit, actual } = body;
  return new Problem({
    status: response.status, code, title, detail, retryable, limit, actual,
    requestId: body.request_id ?? requestId,
  });
}

/** fetch() itself failed: no server, no network. */
export function unreachable() {
  return new Problem({
    title: "The server cannot be reached",
    detail: "Check that it is running and that you are connected, then try again.",
    retryable: true,
  });
}

function number(value) {
  return Number(value).toLocaleString("en-GB");
}
