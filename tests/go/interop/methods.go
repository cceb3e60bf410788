package main

import (
	"fmt"
	"strings"

	_ "go.etcd.io/etcd/api/v3/etcdserverpb" // registers the services of the client port
	_ "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// findMethod finds a method by the last words of its path, like KV/Range, and tells its whole path.
func findMethod(name string) (protoreflect.MethodDescriptor, string, error) {
	service, method, _ := strings.Cut(name, "/")
	for _, space := range []string{"etcdserverpb", "v3lockpb", "v3electionpb", "grpc.health.v1"} {
		d, err := methods.FindDescriptorByName(protoreflect.FullName(space + "." + service))
		if err != nil {
			d, err = protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(space + "." + service))
		}
		if s, ok := d.(protoreflect.ServiceDescriptor); ok && err == nil {
			if m := s.Methods().ByName(protoreflect.Name(method)); m != nil {
				return m, fmt.Sprintf("/%s/%s", s.FullName(), method), nil
			}
		}
	}
	return nil, "", fmt.Errorf("no method %s", name)
}

// methods holds Lock and Election, whose generated code is part of etcd's server. A line is a message, or a method;
// fields are numbered in their order.
var methods = lockAndElection()

func lockAndElection() *protoregistry.Files {
	files := &protoregistry.Files{}
	add := func(space, service string, messages map[string]string, calls map[string]string) {
		file := &descriptorpb.FileDescriptorProto{Name: proto.String(space + ".proto"), Package: proto.String(space),
			Syntax: proto.String("proto3"), Dependency: []string{"rpc.proto", "kv.proto"}}
		for name, fields := range messages {
			m := &descriptorpb.DescriptorProto{Name: proto.String(name)}
			for i, field := range strings.Fields(fields) {
				field, kind, _ := strings.Cut(field, ":")
				f := &descriptorpb.FieldDescriptorProto{Name: proto.String(field), Number: proto.Int32(int32(i + 1)),
					Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
				switch kind {
				case "bytes":
					f.Type = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum()
				case "int64":
					f.Type = descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum()
				default:
					f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(kind)
				}
				m.Field = append(m.Field, f)
			}
			file.MessageType = append(file.MessageType, m)
		}
		s := &descriptorpb.ServiceDescriptorProto{Name: proto.String(service)}
		for name, types := range calls {
			words := strings.Fields(types)
			s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{Name: proto.String(name),
				InputType: proto.String("." + space + "." + words[0]), OutputType: proto.String("." + space + "." + words[1]),
				ServerStreaming: proto.Bool(len(words) > 2)})
		}
		file.Service = append(file.Service, s)
		made, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
		if err == nil {
			err = files.RegisterFile(made)
		}
		if err != nil {
			panic(err)
		}
	}
	const header = "header:.etcdserverpb.ResponseHeader"
	add("v3lockpb", "Lock", map[string]string{
		"LockRequest": "name:bytes lease:int64", "LockResponse": header + " key:bytes",
		"UnlockRequest": "key:bytes", "UnlockResponse": header,
	}, map[string]string{"Lock": "LockRequest LockResponse", "Unlock": "UnlockRequest UnlockResponse"})
	add("v3electionpb", "Election", map[string]string{
		"LeaderKey":       "name:bytes key:bytes rev:int64 lease:int64",
		"CampaignRequest": "name:bytes lease:int64 value:bytes", "CampaignResponse": header + " leader:.v3electionpb.LeaderKey",
		"ProclaimRequest": "leader:.v3electionpb.LeaderKey value:bytes", "ProclaimResponse": header,
		"LeaderRequest": "name:bytes", "LeaderResponse": header + " kv:.mvccpb.KeyValue",
		"ResignRequest": "leader:.v3electionpb.LeaderKey", "ResignResponse": header,
	}, map[string]string{"Campaign": "CampaignRequest CampaignResponse", "Proclaim": "ProclaimRequest ProclaimResponse",
		"Leader": "LeaderRequest LeaderResponse", "Observe": "LeaderRequest LeaderResponse stream", "Resign": "ResignRequest ResignResponse"})
	return files
}
