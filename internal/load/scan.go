package load

import "bytes"

// fields steps through a JSON object without allocating. It trusts the server to
// send JSON: what is malformed ends the object early.
type fields struct {
	b          []byte
	key, value []byte // key without quotes and escapes undone: ours have none
}

func object(b []byte) fields {
	b = blank(b)
	if len(b) == 0 || b[0] != '{' {
		return fields{}
	}
	return fields{b: b[1:]}
}

func (f *fields) next() bool {
	b := separator(f.b)
	if len(b) == 0 || b[0] != '"' {
		return false
	}
	n := length(b)
	f.key, b = b[1:max(n-1, 1)], blank(b[n:])
	if len(b) == 0 || b[0] != ':' {
		return false
	}
	b = blank(b[1:])
	n = length(b)
	f.value, f.b = b[:n], b[n:]
	return n > 0
}

// items steps through a JSON array.
type items struct {
	b     []byte
	value []byte
}

func array(b []byte) items {
	b = blank(b)
	if len(b) == 0 || b[0] != '[' {
		return items{}
	}
	return items{b: b[1:]}
}

func (i *items) next() bool {
	b := separator(i.b)
	n := length(b)
	i.value, i.b = b[:n], b[n:]
	return n > 0
}

func separator(b []byte) []byte {
	b = blank(b)
	if len(b) > 0 && b[0] == ',' {
		b = blank(b[1:])
	}
	return b
}

func blank(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\r' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// length of the value at the start of b; 0 if there is none.
func length(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		return textLength(b)
	case '{', '[':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				i += textLength(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return 0
	}
	if n := bytes.IndexAny(b, ",]} \n\r\t"); n >= 0 {
		return n
	}
	return len(b)
}

func textLength(b []byte) int {
	for i := 1; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i + 1
		}
	}
}

// text is a string value without its quotes; escapes stay.
func text(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	return value[1 : len(value)-1]
}

// number reads the digits at the start of b.
func number(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9' && i < 18; i++ {
		n = n*10 + int64(b[i]-'0')
	}
	return n, b[i:], i > 0
}

func integer(value []byte) int64 {
	n, _, _ := number(value)
	return n
}
