/** What the admin's page asks the server. The session is a cookie that no script sees. */
import { localError, SignalError } from "../mesh/errors.ts";
import { parseErrorReply } from "../mesh/protocol.ts";
import { type Filters, query } from "./filters.ts";

export interface Row {
  meeting_id: string;
  name: string;
  creator_ip: string;
  country: string | null;
  region: string | null;
  city: string | null;
  user_agent: string;
  created_at: string;
}

export interface Spot {
  country: string | null;
  city: string | null;
  lat: number;
  lon: number;
  count: number;
}

export interface Summary {
  rows: number;
  more: boolean;
  places: Spot[];
  nowhere: number;
  histogram: { from: string; span_s: number; counts: number[] };
}

export interface Live {
  meeting_id: string;
  name: string;
  since: string;
  participants: number;
  away: number;
  nodes: Record<string, number>;
}

export interface AuditEvent {
  kind: string;
  meeting_id?: string;
  actor: string;
  subject: string;
  ip: string;
  user_agent: string;
  created_at: string;
}

/** How far a chain of the audit was found intact. */
export interface Chain {
  intact: boolean;
  broken?: number;
  up_to: string;
  rows: number;
  head: number;
}

export interface Page<T> {
  items: T[];
  next_cursor: string;
}

export interface Session {
  attribution: string;
}

const timeoutMs = 30_000;

export function createAdminApi(base: string, request: typeof fetch = (...args) => fetch(...args)) {
  const address = (path: string) => new URL(`api/v1/admin/${path}`, base);

  async function call(path: string, init: RequestInit = {}): Promise<unknown> {
    let response: Response;
    try {
      response = await request(address(path), {
        ...init,
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(timeoutMs),
      });
    } catch (cause) {
      throw localError("unreachable", "the server could not be reached", cause);
    }
    if (response.status === 204) return {};
    const body: unknown = await response.json().catch(() => undefined);
    if (!response.ok) throw refusal(response.status, body);
    if (!isObject(body)) throw localError("malformed", "the answer is no object");
    return body;
  }

  const post = (path: string, body?: unknown) =>
    call(path, {
      method: "POST",
      ...(body === undefined
        ? {}
        : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
    });

  async function list<T>(path: string): Promise<Page<T>> {
    const body = (await call(path)) as Partial<Page<T>>;
    if (!Array.isArray(body.items)) throw localError("malformed", "the answer has no items");
    return { items: body.items, next_cursor: body.next_cursor ?? "" };
  }

  return {
    async session(): Promise<Session> {
      return { attribution: "", ...((await call("session")) as Partial<Session>) };
    },
    async login(token: string): Promise<Session> {
      return { attribution: "", ...((await post("login", { token })) as Partial<Session>) };
    },
    async logout(): Promise<void> {
      await post("logout");
    },
    audit: (filters: Filters, cursor: string) => list<Row>(`audit?${query(filters, { cursor })}`),
    async summary(filters: Filters): Promise<Summary> {
      const body = (await call(`audit/summary?${query(filters)}`)) as Partial<Summary>;
      if (!Array.isArray(body.places) || !Array.isArray(body.histogram?.counts)) {
        throw localError("malformed", "the summary is not one");
      }
      return body as Summary;
    },
    /** Has the server check some rows more of the chain of creations. */
    async chain(): Promise<Chain> {
      const { creations } = (await call("audit/chain")) as { creations?: Chain };
      if (typeof creations?.intact !== "boolean" || typeof creations.up_to !== "string") {
        throw localError("malformed", "the chain is not one");
      }
      return creations;
    },
    /** The address of the rows as a file, for a link. With a byte order mark: it is for Excel. */
    csv: (filters: Filters) => address(`audit?${query(filters, { format: "csv", bom: "1" })}`).href,
    events: (cursor: string) => list<AuditEvent>(`events?${query({}, { cursor })}`),
    live: () => list<Live>("meetings"),
    async end(key: string): Promise<void> {
      await post(`meetings/${encodeURIComponent(key)}/end`);
    },
  };
}

export type AdminApi = ReturnType<typeof createAdminApi>;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

function refusal(status: number, body: unknown): SignalError {
  try {
    return new SignalError(parseErrorReply(body));
  } catch {
    return localError("unreachable", `the server answered ${status}`);
  }
}
