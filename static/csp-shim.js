// xterm.js makes <style> elements and sets style attributes, which a content
// security policy without 'unsafe-inline' forbids. The same is allowed when it
// goes through the CSS object model, so that is where these two calls are led.
// To be imported before xterm.js opens its first terminal.

const createElement = Document.prototype.createElement;

// An inert stand-in whose text becomes an adopted style sheet. A real <style>,
// even an empty one, would count as a violation once it is in the document.
function styleStandIn(owner) {
  const element = createElement.call(owner, "template");
  const sheet = new CSSStyleSheet();
  owner.adoptedStyleSheets = [...owner.adoptedStyleSheets, sheet];
  let text = "";
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set(value) {
      text = String(value);
      sheet.replaceSync(text);
    },
  });
  element.remove = () => {
    owner.adoptedStyleSheets = owner.adoptedStyleSheets.filter((s) => s !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

Document.prototype.createElement = function (name, options) {
  if (String(name).toLowerCase() === "style") return styleStandIn(this);
  return createElement.call(this, name, options);
};

const setAttribute = Element.prototype.setAttribute;

Element.prototype.setAttribute = function (name, value) {
  if (String(name).toLowerCase() === "style" && this.style) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};
