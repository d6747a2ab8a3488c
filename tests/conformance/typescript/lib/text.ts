import { util } from '@aws-appsync/utils';

export interface Limits {
  readonly field: string;
  readonly maxLength: number;
}

export function checkText(text: string | null | undefined, { field, maxLength }: Limits): string {
  const trimmed = (text ?? '').trim();
  if (trimmed === '' || trimmed.length > maxLength) {
    util.error(`${field}: 1 to ${maxLength} characters`, 'ValidationError', null, { field });
  }
  return trimmed;
}
