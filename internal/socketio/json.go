package socketio

import "encoding/json"

// maxDepth bounds the nesting of what a client sends.
const maxDepth = 128

// scanArray checks that b is a JSON array and nothing more (RFC 8259), and cuts it
// into its elements, which point into b. One pass, where encoding/json takes three
// to come as far: this is done for every event. b is valid UTF-8.
func scanArray(b []byte) (elements []json.RawMessage, ok bool) {
	if len(b) == 0 || b[0] != '[' {
		return nil, false
	}
	elements = make([]json.RawMessage, 0, 4)
	i := space(b, 1)
	if i < len(b) && b[i] == ']' {
		return elements, space(b, i+1) == len(b)
	}
	for {
		start := space(b, i)
		if i = scanValue(b, start, 1); i < 0 {
			return nil, false
		}
		elements = append(elements, b[start:i])
		i = space(b, i)
		switch {
		case i == len(b):
			return nil, false
		case b[i] == ',':
			i++
		case b[i] == ']':
			return elements, space(b, i+1) == len(b)
		default:
			return nil, false
		}
	}
}

// scanValue returns the end of the value at i, or -1 if there is none.
func scanValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; {
	case c == '"':
		return scanString(b, i)
	case c == '{' || c == '[':
		return scanNested(b, i, depth)
	case c == '-' || c >= '0' && c <= '9':
		return scanNumber(b, i)
	case c == 't':
		return scanWord(b, i, "true")
	case c == 'f':
		return scanWord(b, i, "false")
	case c == 'n':
		return scanWord(b, i, "null")
	}
	return -1
}

// scanNested is scanValue for an object or an array inside of depth others.
func scanNested(b []byte, i, depth int) int {
	if depth >= maxDepth {
		return -1
	}
	object := b[i] == '{'
	end := byte(']')
	if object {
		end = '}'
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		i = space(b, i)
		if object {
			if i >= len(b) || b[i] != '"' {
				return -1
			}
			if i = scanString(b, i); i < 0 {
				return -1
			}
			if i = space(b, i); i >= len(b) || b[i] != ':' {
				return -1
			}
			i = space(b, i+1)
		}
		if i = scanValue(b, i, depth+1); i < 0 {
			return -1
		}
		i = space(b, i)
		switch {
		case i >= len(b):
			return -1
		case b[i] == ',':
			i++
		case b[i] == end:
			return i + 1
		default:
			return -1
		}
	}
}

func scanString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i++; i >= len(b) {
				return -1
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(b) || !isHex(b[i+1]) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) {
					return -1
				}
				i += 4
			default:
				return -1
			}
		}
	}
	return -1
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func scanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b):
		return -1
	case b[i] == '0':
		i++
	default:
		start := i
		if i = scanDigits(b, i); i == start {
			return -1
		}
	}
	if i < len(b) && b[i] == '.' {
		start := i + 1
		if i = scanDigits(b, start); i == start {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start := i
		if i = scanDigits(b, start); i == start {
			return -1
		}
	}
	return i
}

func scanDigits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

func scanWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}
