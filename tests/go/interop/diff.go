package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"google.golang.org/grpc/status"
)

// difference is one field in which two answers differ.
type difference struct {
	path       string // like header.revision or kvs[3].value
	ours, real string
}

func (d difference) String() string {
	return fmt.Sprintf("%s: ours %s, real %s", d.path, d.ours, d.real)
}

// field is the path without positions: the name under which differences.md may list it.
func (d difference) field() string {
	var out strings.Builder
	depth := 0
	for _, c := range d.path {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		default:
			if depth == 0 {
				out.WriteRune(c)
			}
		}
	}
	return out.String()
}

func show(v reflect.Value) string {
	if !v.IsValid() {
		return "absent"
	}
	text := ""
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		text = fmt.Sprintf("%q", v.Bytes())
	} else {
		text = fmt.Sprintf("%+v", v.Interface())
	}
	if len(text) > 300 {
		text = fmt.Sprintf("%s… (%d characters)", text[:300], len(text))
	}
	return text
}

// diff compares two generated messages field by field; nil and empty byte strings and lists are the same, since
// the wire does not tell them apart.
func diff(ours, real any) []difference {
	var out []difference
	walk(reflect.ValueOf(ours), reflect.ValueOf(real), "", &out)
	return out
}

func walk(a, b reflect.Value, path string, out *[]difference) {
	differ := func() { *out = append(*out, difference{path, show(a), show(b)}) }
	if a.IsValid() != b.IsValid() || (a.IsValid() && a.Type() != b.Type()) {
		differ()
		return
	}
	if !a.IsValid() {
		return
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				differ()
			}
			return
		}
		walk(a.Elem(), b.Elem(), path, out)
	case reflect.Struct:
		for i := 0; i < a.NumField(); i++ {
			f := a.Type().Field(i)
			if !f.IsExported() || f.Name == "XXX_sizecache" || f.Name == "XXX_NoUnkeyedLiteral" {
				continue
			}
			name := f.Name
			for _, part := range strings.Split(f.Tag.Get("protobuf"), ",") {
				if strings.HasPrefix(part, "name=") {
					name = part[len("name="):]
				}
			}
			if path != "" {
				name = path + "." + name
			}
			walk(a.Field(i), b.Field(i), name, out)
		}
	case reflect.Slice:
		if a.Type().Elem().Kind() == reflect.Uint8 {
			if !bytes.Equal(a.Bytes(), b.Bytes()) {
				differ()
			}
			return
		}
		if a.Len() != b.Len() {
			*out = append(*out, difference{path, fmt.Sprintf("%d elements", a.Len()), fmt.Sprintf("%d elements", b.Len())})
			return
		}
		for i := 0; i < a.Len(); i++ {
			walk(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i), out)
		}
	default:
		if a.Interface() != b.Interface() {
			differ()
		}
	}
}

func diffErrors(ours, real error) []difference {
	a, b := status.Convert(ours), status.Convert(real)
	if a.Code() == b.Code() && a.Message() == b.Message() {
		return nil
	}
	text := func(s *status.Status) string { return fmt.Sprintf("code %d %q", s.Code(), s.Message()) }
	return []difference{{"error", text(a), text(b)}}
}
