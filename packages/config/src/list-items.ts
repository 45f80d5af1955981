/**
 * Items of a list, separated by commas. The rule of every list: an empty item is refused, for it is what a variable
 * that is not set leaves behind, and the list then says less than its author believes.
 *
 * @param nothing - What the error says of a list without any item.
 * @throws Error
 */
export function listItems(text: string, nothing: string): readonly string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.every((item) => item === '')) throw new Error(nothing);
  const empty = items.indexOf('');
  if (empty !== -1)
    throw new Error(
      `item ${empty + 1} of ${items.length} is empty; name what is missing, or leave out ${empty === items.length - 1 ? 'the comma at the end' : 'its comma'}`,
    );
  return items;
}
