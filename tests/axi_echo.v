// A device under the bus models: packets of s_axis come out on m_axis through one register; one register on s_axil.
// `fault`: 0 none, 1 m_axis_tvalid falls under a stall, 2 m_axis_tdata changes under a stall.
module axi_echo (
  input wire clk, input wire rst, input wire [1:0] fault,
  input wire [31:0] s_axis_tdata, input wire s_axis_tvalid, output wire s_axis_tready, input wire s_axis_tlast,
  output wire [31:0] m_axis_tdata, output wire m_axis_tvalid, input wire m_axis_tready, output wire m_axis_tlast,
  output wire m_axis_tuser,
  input wire [3:0] s_axil_awaddr, input wire s_axil_awvalid, output wire s_axil_awready,
  input wire [31:0] s_axil_wdata, input wire [3:0] s_axil_wstrb, input wire s_axil_wvalid, output wire s_axil_wready,
  output reg [1:0] s_axil_bresp, output reg s_axil_bvalid, input wire s_axil_bready,
  input wire [3:0] s_axil_araddr, input wire s_axil_arvalid, output wire s_axil_arready,
  output reg [31:0] s_axil_rdata, output reg [1:0] s_axil_rresp, output reg s_axil_rvalid, input wire s_axil_rready
);
  reg [31:0] word, kept;
  reg valid, last, stalled, has_address, has_data;
  reg [3:0] address;
  reg [31:0] data;
  assign s_axis_tready = ~valid | m_axis_tready;
  assign m_axis_tvalid = valid & ~(stalled & fault == 1);
  assign m_axis_tdata = word ^ {31'b0, stalled & fault == 2};
  assign m_axis_tlast = last;
  assign m_axis_tuser = word[0];
  assign s_axil_awready = ~has_address;
  assign s_axil_wready = ~has_data;
  assign s_axil_arready = ~s_axil_rvalid;
  always @(posedge clk) begin
    stalled <= valid & ~m_axis_tready & ~stalled;
    if (s_axis_tready) {valid, last, word} <= {s_axis_tvalid, s_axis_tlast, s_axis_tdata};
    if (s_axil_awvalid & s_axil_awready) {has_address, address} <= {1'b1, s_axil_awaddr};
    if (s_axil_wvalid & s_axil_wready) {has_data, data} <= {1'b1, s_axil_wdata};
    if (s_axil_bready) s_axil_bvalid <= 0;
    if (has_address & has_data & ~s_axil_bvalid) begin
      {has_address, has_data, s_axil_bvalid} <= 3'b001;
      s_axil_bresp <= address == 0 ? 0 : 3;
      if (address == 0) kept <= data;
    end
    if (s_axil_rready) s_axil_rvalid <= 0;
    if (s_axil_arvalid & s_axil_arready)
      {s_axil_rvalid, s_axil_rresp, s_axil_rdata} <= {1'b1, s_axil_araddr == 0 ? 2'd0 : 2'd3, kept};
    if (rst) {valid, stalled, has_address, has_data, s_axil_bvalid, s_axil_rvalid, kept} <= 0;
  end
endmodule
