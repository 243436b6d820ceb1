package gpu

// MI355X: AMD Instinct MI355X data sheet; PCI ids from AMD's k8s-device-plugin.
var _ = register(Accelerator{
	Name:         "MI355X",
	MemoryGiB:    288,
	BandwidthTBs: 8.0,
	Architecture: "gfx950",
	Generation:   355,
	DeviceIDs:    []string{"75a3", "75b3"},
	Precisions:   precisionsCDNA3,
	Native:       nativeCDNA4,
	MaxPerNode:   8,
})
