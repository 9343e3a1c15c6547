"use strict";
// Headings of tables become buttons that sort; without this script the tables read as written.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const last = table.classList.contains("strong-last") ? body.rows[body.rows.length - 1] : null;
  if (body.rows.length - (last ? 1 : 0) < 2) continue;
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const number = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : number;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => (number ? row.cells[index].dataset.sort : row.cells[index].textContent.trim());
      const compare = (a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");  // undefined figures stay at the end
        const order = number ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true });
        return descending ? -order : order;
      };
      body.append(...[...body.rows].filter((row) => row !== last).sort(compare));
      if (last) body.append(last);
    });
  });
}
