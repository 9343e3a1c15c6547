// The page find.html: looks through window.omlabPages (assets/search-index.js), which needs no server.
(function () {
  "use strict";

  const MOST = 50;
  const ROOM = 90;
  const field = document.getElementById("omlab-find");
  const found = document.getElementById("omlab-found");

  function plain(markup) {
    return new DOMParser().parseFromString(markup, "text/html").body.textContent;
  }

  const pages = new Map(window.omlabPages.map(({ location, title }) => [location, plain(title)]));
  const parts = window.omlabPages.map(({ location, title, text }) => {
    const [page, section] = [pages.get(location.split("#")[0]), plain(title)];
    const name = page === section ? page : `${page}: ${section}`;
    const words = plain(text);
    return { location, title: name, text: words, all: `${name} ${words}`.toLowerCase() };
  });

  function rank(part, words) {
    const title = part.title.toLowerCase();
    return words.filter((word) => title.includes(word)).length;
  }

  function around(text, word) {
    const at = Math.max(0, text.toLowerCase().indexOf(word));
    return text.slice(Math.max(0, at - ROOM), at + ROOM);
  }

  function show() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.length ? parts.filter(({ all }) => words.every((word) => all.includes(word))) : [];
    hits.sort((one, other) => rank(other, words) - rank(one, words));
    found.replaceChildren(
      ...hits.slice(0, MOST).map((part) => {
        const row = document.createElement("li");
        const link = document.createElement("a");
        link.href = part.location || "index.html";
        link.textContent = part.title;
        row.append(link, document.createElement("br"), around(part.text, words[0]));
        return row;
      }),
    );
  }

  field.value = new URLSearchParams(window.location.search).get("q") || "";
  field.addEventListener("input", show);
  show();
})();
