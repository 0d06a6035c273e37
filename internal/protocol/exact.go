package protocol

import (
	"bytes"
	"reflect"
	"strings"
	"sync"
)

// hideMisspelt answers the object with the names hidden that encoding/json would take for a field of t
// though their case is another: "Meeting_ID" is an unknown field like any other. What is no valid JSON is
// left to encoding/json.
func hideMisspelt(raw []byte, t reflect.Type) []byte {
	hider := hider{out: raw}
	hider.value(0, len(raw), t)
	return hider.out
}

type hider struct {
	out    []byte
	cloned bool
}

// value hides in an object, or in each of a list.
func (h *hider) value(i, end int, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case i >= end:
	case t.Kind() == reflect.Struct && h.out[i] == '{':
		h.object(i, end, t)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && h.out[i] == '[':
		raw := h.out[:end]
		for i = skipSpace(raw, i+1); i < end && raw[i] == '{'; i = skipSpace(raw, i+1) {
			start := i
			i = skipValue(raw, i)
			h.object(start, i, t.Elem())
			i = skipSpace(raw, i) // at the comma, or the end
		}
	}
}

func (h *hider) object(i, end int, t reflect.Type) {
	fields := fieldsOf(t)
	raw := h.out[:end]
	for i = skipSpace(raw, i+1); i < end && raw[i] == '"'; i = skipSpace(raw, i+1) {
		start := i
		i = skipValue(raw, i)
		name, err := unquote("", raw[start:i])
		if err != nil {
			return
		}
		value := skipSpace(raw, skipSpace(raw, i)+1) // past the colon
		nameEnd := i
		i = skipSpace(raw, skipValue(raw, value)) // at the comma, or the end
		if field, ok := fields[name]; ok {
			h.value(value, i, field)
		} else if isMisspelt(name, fields) {
			h.hide(start+1, nameEnd-1)
		}
	}
}

func isMisspelt(name string, fields map[string]reflect.Type) bool {
	for field := range fields {
		if strings.EqualFold(field, name) {
			return true
		}
	}
	return false
}

func (h *hider) hide(from, to int) {
	if !h.cloned {
		h.out, h.cloned = bytes.Clone(h.out), true
	}
	for i := from; i < to; i++ {
		h.out[i] = '-'
	}
}

var fieldCache sync.Map // of map[string]reflect.Type by reflect.Type

// fieldsOf are the types of a struct's fields by their names in JSON.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
			fields[name] = t.Field(i).Type
		}
	}
	fieldCache.Store(t, fields)
	return fields
}
