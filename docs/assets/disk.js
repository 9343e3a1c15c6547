// Pages that are read from a disk: the field at the top needs a server, so the glass leads to find.html.
(function () {
  "use strict";

  const glass = document.querySelector("label.md-header__button[for=__search]");
  if (window.location.protocol !== "file:" || !glass) return;
  const link = document.createElement("a");
  link.href = new URL("../find.html", document.currentScript.src).href;
  link.className = glass.className;
  link.title = "Find";
  link.setAttribute("aria-label", "Find");
  link.append(...glass.childNodes);
  glass.replaceWith(link);
})();
