"use strict";
// What a cell is sorted by: its first number, beyond every number for "not reached", else its text; dashes come last.
function key(text) {
  const plain = text.trim().replaceAll(",", "").replaceAll("−", "-");
  if (plain === "–" || plain === "") return null;
  if (plain === "not reached") return Infinity;
  const found = plain.match(/^[≈<> ]*(-?\d+(\.\d+)?)/);
  return found ? Number(found[1]) : plain.toLowerCase();
}
function compare(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
}
function sortBy(table, column, sign) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row, index) => ({ row, index, key: key(row.cells[column].textContent) }));
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
    return sign * compare(a.key, b.key) || a.index - b.index;
  });
  body.append(...rows.map((entry) => entry.row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.hasAttribute("aria-sort"));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "ascending" : "descending");
      sortBy(table, column, descending ? 1 : -1);
    });
  });
}
// A link into something folded away opens it, and paper has no folds.
function reveal() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => document.querySelectorAll("details.unfold").forEach((part) => (part.open = true)));
reveal();
