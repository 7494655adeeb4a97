// The mark of synthetic media, the same that vidgan/marks/xmp.py writes: an XMP packet whose IPTC
// DigitalSourceType says that a trained model made the film. In MP4 it is the last box of the file.

const UUID = [0xbe, 0x7a, 0xcf, 0xcb, 0x97, 0xa9, 0x42, 0xe8, 0x9c, 0x71, 0x99, 0x94, 0x91, 0xe3, 0xaf, 0xac];
export const SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

export function packet(comment, version) {
  const text = comment.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmp:CreatorTool="vidgan ${version}"
 Iptc4xmpExt:DigitalSourceType="${SOURCE}"><dc:description><rdf:Alt><rdf:li xml:lang="x-default">${text}</rdf:li></rdf:Alt></dc:description></rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>`;
}

/** The finished MP4 with the packet appended in a box of type uuid. */
export function marked(mp4, xmp) {
  const text = new TextEncoder().encode(xmp);
  const head = new DataView(new ArrayBuffer(8));
  head.setUint32(0, 24 + text.length);
  head.setUint32(4, 0x75756964); // "uuid"
  return new Blob([mp4, head.buffer, Uint8Array.from(UUID), text], { type: "video/mp4" });
}
