/** What is shown, as the address has it: so a link shows the same, and the browser's back goes back. */

export const fields = ["from", "to", "ip", "country", "city", "q"] as const;
export type Field = (typeof fields)[number];
export type Filters = Partial<Record<Field, string>>;

export const views = ["audit", "live", "events"] as const;
export type View = (typeof views)[number];

export interface Place {
  view: View;
  filters: Filters;
}

export function readPlace(search: string): Place {
  const params = new URLSearchParams(search);
  const view = views.find((name) => name === params.get("view")) ?? "audit";
  const filters: Filters = {};
  for (const field of fields) {
    const value = params.get(field)?.trim();
    if (value) filters[field] = value;
  }
  return { view, filters };
}

/** The query of an address, with its question mark; nothing if all is as it is at first. */
export function writePlace({ view, filters }: Place): string {
  const params = query(filters);
  if (view !== "audit") params.set("view", view);
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}

/** The filters for the server, with whatever else it is to know. */
export function query(filters: Filters, more: Record<string, string> = {}): URLSearchParams {
  const params = new URLSearchParams();
  for (const field of fields) {
    const value = filters[field];
    if (value) params.set(field, value);
  }
  for (const [name, value] of Object.entries(more)) if (value !== "") params.set(name, value);
  return params;
}
