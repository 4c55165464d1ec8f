/**
 * Cutting where the script of a text changes, as huggingface/tokenizers does (`unicode_scripts/`) after SentencePiece's trainer:
 * Hiragana and Katakana count as Han, a space as every script. The names are those of the Unicode version that it knows.
 */
import type { Cut } from './cut.ts';

const names =
  'Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo ' +
  'Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Common Coptic ' +
  'Cuneiform Cypriot Cyrillic Deseret Devanagari Duployan Egyptian_Hieroglyphs Elbasan Ethiopic Georgian Glagolitic ' +
  'Gothic Grantha Greek Gujarati Gurmukhi Han Hangul Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited ' +
  'Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Khojki ' +
  'Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Malayalam Mandaic Manichaean Marchen ' +
  'Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean ' +
  'New_Tai_Lue Newa Nko Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian ' +
  'Old_South_Arabian Old_Turkic Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician ' +
  'Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sora_Sompeng Sundanese ' +
  'Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangut Telugu Thaana Thai Tibetan Tifinagh ' +
  'Tirhuta Ugaritic Vai Warang_Citi Yi';

const scripts = names.split(' ').map((name) => new RegExp(`^\\p{Script=${name}}$`, 'u'));
const [han, kana] = ['Han', 'Katakana Hiragana'].map((wanted) =>
  wanted.split(' ').map((name) => names.split(' ').indexOf(name)),
);
const known = new Map<number, number>();

/** -1 stands for every script. */
function scriptOf(code: number): number {
  if (code === 0x20) return -1;
  let script = known.get(code);
  if (script === undefined) {
    const letter = String.fromCodePoint(code);
    script = code === 0x30fc ? (han?.[0] ?? -1) : scripts.findIndex((pattern) => pattern.test(letter));
    if (kana?.includes(script)) script = han?.[0] ?? -1;
    known.set(code, script);
  }
  return script;
}

/** What stands before the first character that has a script is left out, as there. */
export const cutAtScripts: Cut = (text, atStart, emit) => {
  let last: number | undefined;
  let start: number | undefined;
  for (let at = 0; at < text.length; ) {
    const code = text.codePointAt(at) ?? 0;
    const script = scriptOf(code);
    if (script !== -1) {
      if (script !== last) {
        if (start !== undefined) emit(text.slice(start, at), atStart && start === 0);
        start = at;
      }
      last = script;
    }
    at += code > 0xffff ? 2 : 1;
  }
  if (start !== undefined) emit(text.slice(start), atStart && start === 0);
};
