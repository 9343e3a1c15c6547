// Tables with data-filter="COLUMN ..." get a list for each of those columns, and a field for words. What the page's
// address asks for (?modality=ct&task=segmentation) is chosen at first.
(function () {
  "use strict";

  const asked = new URLSearchParams(window.location.search);

  function cells(row) {
    return Array.from(row.cells, (cell) => cell.textContent.trim());
  }

  function choices(rows, column) {
    const found = new Set(rows.flatMap((row) => cells(row)[column].split(", ")));
    return Array.from(found).filter(Boolean).sort();
  }

  function list(name, values) {
    const field = document.createElement("select");
    field.setAttribute("aria-label", name);
    for (const value of ["", ...values]) field.add(new Option(value || `any ${name}`, value));
    if (values.includes(asked.get(name))) field.value = asked.get(name);
    return field;
  }

  function prepare(table) {
    const rows = Array.from(table.tBodies[0].rows);
    const names = cells(table.tHead.rows[0]);
    for (const row of rows) Array.from(row.cells).forEach((cell, column) => (cell.dataset.name = names[column]));
    const bar = document.createElement("p");
    const words = document.createElement("input");
    const count = document.createElement("span");
    const lists = table.dataset.filter.split(" ").map((name) => {
      const column = names.indexOf(name);
      return { column, field: list(name, choices(rows, column)) };
    });
    count.setAttribute("role", "status");
    words.type = "search";
    words.placeholder = "words";
    words.setAttribute("aria-label", "words");

    function show() {
      let left = 0;
      for (const row of rows) {
        const texts = cells(row);
        const chosen = lists.every(({ column, field }) => {
          const values = texts[column].split(", ");
          return !field.value || values.includes(field.value) || values.includes("any");
        });
        const found = texts.join(" ").toLowerCase().includes(words.value.toLowerCase());
        row.hidden = !(chosen && found);
        left += !row.hidden;
      }
      count.textContent = ` ${left} of ${rows.length}`;
    }

    for (const { field } of lists) field.addEventListener("change", show);
    words.addEventListener("input", show);
    bar.className = "omlab-filter";
    bar.append(...lists.map(({ field }) => field), words, count);
    table.before(bar);
    show();
  }

  document.querySelectorAll("table[data-filter]").forEach(prepare);
})();
