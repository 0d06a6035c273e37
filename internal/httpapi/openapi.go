package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"signald/internal/fault"
)

// object is a piece of JSON.
type object = map[string]any

const apiAbout = `What signald answers over HTTP. Talking to each other goes over Socket.IO; docs/PROTOCOL.md has both.

Bodies are JSON whatever their content type says, at most 64 KiB; an empty one is ` + "`{}`" + `. Unknown fields are
ignored. Switch on an error's ` + "`code`" + `, not on its ` + "`message`" + `.`

// description is the API in OpenAPI 3.1, made from the table that the mux is made from.
func description(routes []route, basePath string) object {
	types := schemas{}
	paths := object{}
	for _, r := range routes {
		path, _ := paths[r.path].(object)
		if path == nil {
			path = object{}
			paths[r.path] = path
		}
		path[strings.ToLower(r.method)] = types.operation(r)
	}
	types.of(reflect.TypeFor[fault.Error](), false)
	document := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "signald", "version": "1", "description": apiAbout,
			"license": object{"name": "MIT", "identifier": "MIT"},
		},
		"paths": paths,
		"components": object{
			"schemas": types,
			"securitySchemes": object{
				"participant": object{"type": "http", "scheme": "bearer", "description": "The resume token of a participation (rt_…)."},
				"admin":       object{"type": "http", "scheme": "bearer", "description": "The admin's token: SIGNALD_ADMIN_TOKEN."},
				"adminSession": object{
					"type": "apiKey", "in": "cookie", "name": sessionCookie,
					"description": "A session of the admin's browser, from POST /api/v1/admin/login. It is no good to pages of other sites.",
				},
			},
		},
	}
	if basePath != "" {
		document["servers"] = []object{{"url": basePath}}
	}
	return document
}

// describe answers with the description.
func (a *API) describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(a.description) // the client may be gone
}

var pathParam = regexp.MustCompile(`{(\w+)}`)

func (s schemas) operation(r route) object {
	op := object{
		"operationId": r.name, "summary": r.summary, "tags": []string{tagOf(r.path)},
		"security": security(r.access), "responses": s.responses(r),
	}
	if r.about != "" {
		op["description"] = r.about
	}
	var params []object
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.query {
		params = append(params, object{"name": p.name, "in": "query", "description": p.about, "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.body != nil {
		op["requestBody"] = object{"content": object{
			"application/json": object{"schema": s.of(reflect.TypeOf(r.body), true)},
		}}
	}
	return op
}

// tagOf groups the routes: /api/v1/meetings/{id} belongs to meetings.
func tagOf(path string) string {
	rest, versioned := strings.CutPrefix(path, "/api/v1/")
	if !versioned {
		return "server"
	}
	tag, _, _ := strings.Cut(rest, "/")
	return tag
}

func security(a access) []object {
	switch a {
	case participant:
		return []object{{"participant": []string{}}}
	case onlyAdmin:
		return []object{{"admin": []string{}}, {"adminSession": []string{}}}
	}
	return []object{} // none, or none that OpenAPI has a word for
}

func (s schemas) responses(r route) object {
	all := object{}
	for status, body := range r.answers {
		content := object{}
		if body != nil {
			content["application/json"] = object{"schema": s.of(reflect.TypeOf(body), false)}
		}
		for _, media := range r.also {
			content[media] = object{"schema": object{"type": "string"}}
		}
		answer := object{"description": http.StatusText(status)}
		if len(content) > 0 {
			answer["content"] = content
		}
		all[strconv.Itoa(status)] = answer
	}
	for _, code := range r.codes() {
		status := strconv.Itoa(code.Status())
		sentence := "`" + string(code) + "`: " + fault.New(code).Message
		if same, ok := all[status].(object); ok {
			same["description"] = same["description"].(string) + "\n\n" + sentence
			continue
		}
		all[status] = object{"description": sentence, "content": object{
			"application/json": object{"schema": s.of(reflect.TypeFor[fault.Error](), false)},
		}}
	}
	return all
}

// schemas are JSON Schemas of Go types, by the name that the description gives them.
type schemas map[string]object

// of is the schema of a type, by reference if it is a struct with a name. In an answer every field is
// there unless it says omitempty; of what is sent only those tagged `required` have to be, and null counts
// as absent. The tag `doc` says what a field is.
func (s schemas) of(t reflect.Type, sent bool) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[fault.Code]():
		return object{"type": "string", "enum": slices.Sorted(slices.Values(fault.Codes()))}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(s.of(t.Elem(), sent))
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem(), sent)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem(), sent)}
	case reflect.Struct:
		if t.Name() == "" {
			return s.fields(t, sent)
		}
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if s[name] == nil {
			s[name] = object{} // so that a type that holds itself ends
			s[name] = s.fields(t, sent)
		}
		return object{"$ref": "#/components/schemas/" + name}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	}
	return object{} // anything
}

func nullable(schema object) object {
	if word, ok := schema["type"].(string); ok {
		schema["type"] = []string{word, "null"}
		return schema
	}
	return object{"anyOf": []object{schema, {"type": "null"}}}
}

func (s schemas) fields(t reflect.Type, sent bool) object {
	properties, required := object{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		typ, may := f.Type, strings.Contains(options, "omitempty")
		if may && typ.Kind() == reflect.Pointer {
			typ = typ.Elem() // nil is left out, not null
		}
		field := s.of(typ, sent)
		if doc := f.Tag.Get("doc"); doc != "" {
			field["description"] = doc
		}
		_, must := f.Tag.Lookup("required")
		switch {
		case !sent && !may, must:
			required = append(required, name)
		case sent && typ.Kind() != reflect.Pointer:
			field = nullable(field)
		}
		properties[name] = field
	}
	schema := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}
